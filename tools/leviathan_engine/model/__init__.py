"""The model according to its GGUF header: shape, configuration, tokenizer, chat template, grammars."""
