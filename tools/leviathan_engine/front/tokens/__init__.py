"""The tokenizer's endpoints of vLLM and llama.cpp: /tokenize, /detokenize and /apply-template."""
