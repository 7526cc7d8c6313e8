"""OpenAI's Responses API: /v1/responses, without stored state."""
