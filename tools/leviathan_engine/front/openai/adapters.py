"""Adapters of OpenAI's chat completions and completions."""

from ..generation.adapter import Adapter
from .chat_body import read_chat
from .completion_body import read_completion

CHAT_COMPLETIONS = Adapter(read_chat)
COMPLETIONS = Adapter(read_completion)
