"""Checks whether a chat's next prompt starts with the last prompt and its answer, so that the prefix cache has it."""

from .chat_prompt import PromptError, Prompts
from .rendered_chat import ChatPrompt

QUESTION, ANSWER, OPENING = "What is 2 + 2?", "It is 4.", "<think>\n"
THOUGHT = OPENING + "Easy.\n</think>\n\n"
MOST = 100_000
WHAT = {
    ANSWER: "an answer",
    THOUGHT + ANSWER: "an answer with reasoning",
}


def notes(prompts: Prompts) -> list[str]:
    """Returns a note for the log if the model's template changes earlier turns, otherwise an empty list."""
    if prompts.template is None:
        return []
    changed = [what for answer, what in WHAT.items() if rewritten(prompts, answer)]
    if not changed:
        return []
    return [
        f"the chat template renders {' and '.join(changed)} differently when another turn follows, so the prefix cache"
        " ends there: the engine reads that turn again with the next request"
    ]


def rewritten(prompts: Prompts, answer: str) -> bool:
    """Whether the next turn's prompt does not start with the tokens of the last prompt and its `answer`.

    With a template that opens the thought itself, there is no answer without reasoning.
    """
    question = {"role": "user", "content": QUESTION}
    talk = (question, {"role": "assistant", "content": answer}, question)
    try:
        first, rendered = prompts.chat(ChatPrompt((question,)), MOST)
        if rendered.thinking:
            if not answer.startswith(OPENING):
                return False
            answer = answer.removeprefix(OPENING)
        first = first + prompts.plain_ids(answer, MOST)
        second, _rendered = prompts.chat(ChatPrompt(talk), MOST)
    except PromptError:
        return False  # the template refuses such a chat, so there is none
    return second[: len(first)] != first
