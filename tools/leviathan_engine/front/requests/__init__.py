"""The common parts of the request bodies of all APIs: JSON types, error messages, the rules for fields."""
