"""What the request bodies of every API have in common: JSON types, error texts, the rule for fields."""
