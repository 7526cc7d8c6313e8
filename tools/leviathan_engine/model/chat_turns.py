"""Whether a chat's next prompt begins with the last prompt and its answer: if so the engine need not read it again."""

from .chat_prompt import PromptError, Prompts
from .talk import ChatPrompt

QUESTION, ANSWER, OPENING = "What is 2 + 2?", "It is 4.", "<think>\n"
THOUGHT = OPENING + "Easy.\n</think>\n\n"
MOST = 100_000
WHAT = {
    ANSWER: "an answer",
    THOUGHT + ANSWER: "an answer with reasoning",
}


def notes(prompts: Prompts) -> list[str]:
    """What the model's template changes in earlier turns, a sentence each; none for a template that changes nothing."""
    if prompts.template is None:
        return []
    changed = [what for answer, what in WHAT.items() if rewritten(prompts, answer)]
    if not changed:
        return []
    return [
        f"the chat template writes {' and '.join(changed)} differently once another turn follows: after such a turn the"
        " engine reads from there on what it had already read"
    ]


def rewritten(prompts: Prompts, answer: str) -> bool:
    """Whether the tokens of a prompt and its `answer` are not the first tokens of the next turn's prompt.

    A template that opens the thought itself has no answer without reasoning.
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
        return False  # a template that takes no such chat gets none
    return second[: len(first)] != first
