"""The two doors of OpenAI's API."""

from ..generation.door import Door
from .chat_body import read_chat
from .completion_body import read_completion

CHAT_COMPLETIONS = Door(read_chat)
COMPLETIONS = Door(read_completion)
