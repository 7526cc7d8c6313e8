"""What a text is in tokens: /tokenize, /detokenize and /apply-template, as vLLM and llama.cpp have them."""
