"""What the GGUF header says of the model: shape, configuration, tokenizer, chat template."""
