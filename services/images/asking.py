"""What can be asked about pictures, and which part of them is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.errors import BadInput
from services.images.pictures import CleanImage
from services.images.question import ImageQuestion
from services.images.scaling import cut_out
from services.translation import N_

QUESTION_MAX_LENGTH = 2000  # characters
IMAGES_MAX = 4  # of one question


def checked(question: ImageQuestion) -> ImageQuestion:
    """With its words stripped and no picture twice. Raises BadInput."""
    question = replace(question, words=question.words.strip(), images=tuple(dict.fromkeys(question.images)))
    if len(question.words) > QUESTION_MAX_LENGTH:
        raise BadInput(N_("The question is longer than {limit} characters."), limit=QUESTION_MAX_LENGTH)
    if len(question.images) > IMAGES_MAX:
        raise BadInput(
            N_("There are more than {limit} pictures."), hint=N_("Ask about fewer at a time."), limit=IMAGES_MAX
        )
    return question


def parts_of(question: ImageQuestion, pictures: Sequence[CleanImage]) -> list[CleanImage]:
    """What is looked at. Raises BadInput for a region of more than one picture, or of none."""
    if question.region is None:
        return list(pictures)
    if len(pictures) > 1:
        raise BadInput(
            N_("A part can be marked in one picture only."), hint=N_("Ask about one picture, or about whole pictures.")
        )
    return [cut_out(pictures[0], question.region)]
