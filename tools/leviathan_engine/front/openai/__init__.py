"""OpenAI's API: chat completions, completions and models, with the extra fields of vLLM, SGLang and llama.cpp."""
