"""The way of a question about pictures, with a fake model, a fake reader and the real gate and store."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from services.audit.filters import Filter
from services.errors import BadInput, Denied, EngineNotReady, NotFound, UnreadableFile
from services.image_analysis import NO_TEXT, ImageAnalysis
from services.image_audit import ImageRecorder
from services.images.gate import Gate
from services.images.question import Form, ImageQuestion, Template
from services.images.store import ImageStore
from services.permissions import CONSOLE
from tests.fakes import ANNA, AUDITOR, NO_ROLE, USER, FakeChatModel, FakeReader, text_of
from tests.services_setup import built

VISION = ("chat", "vision")


class Portal:
    def __init__(self, services, model: FakeChatModel, settings) -> None:
        self.services, self.model, self.settings = services, model, settings
        self.reader = FakeReader("Sales in May: 120")
        self.images = ImageAnalysis(
            services.database,
            model,
            services.catalogue,
            gate=Gate(settings),
            store=ImageStore(settings),
            reader=self.reader,
            recorder=ImageRecorder(services.audit, services.models),
        )

    def upload(self, colour="red", actor=ANNA, size=(200, 100)) -> str:
        return self.images.admit(png(colour, size), "chart.png", actor).sha256

    def ask(self, words="How much?", *images, actor=ANNA, conversation_id=None, **options):
        question = ImageQuestion(words, images, **options)
        answer = self.images.stream(question, actor=actor, conversation_id=conversation_id, language="en")
        for _delta in answer.deltas:
            pass
        return answer

    def event(self):
        return self.services.audit_log.search(Filter(action="image"), AUDITOR).events[0]

    def kept(self) -> set[str]:
        return {path.stem for path in (self.settings.home / "images").glob("*")}


@pytest.fixture
def portal(fresh):
    settings, model = fresh(audit_text="full"), FakeChatModel("120")
    with built(settings, model) as services:
        yield Portal(services, model, settings)


def png(colour="red", size=(200, 100)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "png")
    return out.getvalue()


def shown(request) -> Image.Image:
    """The picture that a model was given."""
    [part] = [part for part in request.messages[-1]["content"] if part["type"] == "image_url"]
    head, _, code = part["image_url"]["url"].partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB")


def test_without_a_vision_model_the_text_of_the_picture_answers(portal):
    answer = portal.ask("How much?", portal.upload())
    assert (answer.outcome, answer.mode, answer.text) == ("answered", "ocr", "120")
    said = text_of(portal.model.requests[0].messages[-1])
    assert said.index("Sales in May: 120") < said.index("How much?")
    [turn] = portal.images.turns(answer.conversation_id, ANNA)
    assert (turn.mode, turn.readings, turn.question) == ("ocr", answer.readings, answer.question)


def test_a_vision_model_is_given_the_picture_and_nothing_is_read(portal):
    portal.model.roles = VISION
    answer = portal.ask("Which colour?", portal.upload("red", size=(3000, 100)))
    assert (answer.mode, answer.readings, portal.reader.read_images) == ("vision", [], [])
    picture = shown(portal.model.requests[0])
    assert picture.width == 1024
    assert picture.getpixel((5, 5)) == (255, 0, 0)


def test_the_text_is_evidence_beside_the_picture_by_choice(portal):
    portal.model.roles = VISION
    answer = portal.ask("How much?", portal.upload(), with_text=True)
    assert answer.mode == "vision"
    assert "Sales in May: 120" in text_of(portal.model.requests[0].messages[-1])
    assert shown(portal.model.requests[0]).size == (200, 100)


def test_where_no_text_is_found_no_model_is_asked(portal):
    portal.reader.layout = " \n"
    answer = portal.ask("How much?", portal.upload())
    assert (answer.outcome, answer.text) == ("refused", NO_TEXT["en"])
    assert portal.model.requests == []
    assert portal.images.turns(answer.conversation_id, ANNA)[0].text == NO_TEXT["en"]


def test_without_any_model_the_answer_says_why_and_what_was_read_is_there(portal):
    portal.model.unavailable = EngineNotReady("It is stopped.")
    answer = portal.ask("How much?", portal.upload())
    assert (answer.outcome, answer.error.message) == ("failed", "It is stopped.")
    assert answer.readings[0].layout == "Sales in May: 120"


def test_a_follow_up_is_about_the_pictures_of_the_turn_before(portal):
    first = portal.ask("How much?", portal.upload())
    second = portal.ask("And in June?", conversation_id=first.conversation_id)
    assert second.question.images == first.question.images
    assert [text_of(message) for message in portal.model.requests[1].messages[:2]] == ["How much?", "120"]


def test_several_pictures_have_numbers(portal):
    first, second = portal.upload("red"), portal.upload("blue")
    portal.ask("Which is larger?", first, second)
    said = text_of(portal.model.requests[0].messages[-1])
    assert said.index("Picture 1") < said.index("Picture 2")
    portal.model.roles = VISION
    portal.ask("Which is blue?", first, second)
    sheet = shown(portal.model.requests[1])
    colours = {sheet.getpixel((x, 60)) for x in range(0, sheet.width, 10)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours


def test_a_marked_part_is_cut_out_and_its_text_lies_where_it_stands_in_the_whole(portal):
    answer = portal.ask("How much?", portal.upload(size=(200, 100)), region=(0.5, 0.5, 1.0, 1.0))
    [part] = portal.reader.read_images
    assert (part.width, part.height) == (100, 50)
    assert answer.readings[0].lines[0].box[0] == (100, 50)
    assert portal.images.turns(answer.conversation_id, ANNA)[0].question.region == (0.5, 0.5, 1.0, 1.0)


@pytest.mark.parametrize("region", [(0.5, 0, 0.5, 1), (0, 0, 1.2, 1), (-0.1, 0, 1, 1), (0, 0, 0.01, 1)])
def test_a_part_that_is_none_is_refused(portal, region):
    with pytest.raises(BadInput):
        portal.ask("How much?", portal.upload(), region=region)
    assert portal.kept() == set()


def test_long_text_is_cut_and_the_answer_says_so(portal):
    portal.reader.layout = "\n".join(f"row {number} of many" for number in range(2000))
    answer = portal.ask("How much?", portal.upload())
    assert answer.cut
    said = text_of(portal.model.requests[0].messages[-1])
    assert "row 0 of" in said
    assert "row 1999 of" not in said
    assert portal.images.turns(answer.conversation_id, ANNA)[0].cut


def test_a_table_in_the_answer_is_given_as_rows(portal):
    portal.model.reply = "| Month | Sales |\n|---|---|\n| May | 120 |"
    answer = portal.ask("As a table", portal.upload(), form=Form.TABLE)
    assert answer.table == [["Month", "Sales"], ["May", "120"]]
    assert portal.images.turns(answer.conversation_id, ANNA)[0].table == answer.table
    assert "| May | 120 |" in portal.images.export_markdown(answer.conversation_id, ANNA, "en")


def test_without_words_the_template_says_what_to_look_at(portal):
    answer = portal.ask("", portal.upload(), template=Template.LINE_CHART)
    assert "highest and lowest points" in text_of(portal.model.requests[0].messages[-1])
    assert portal.images.conversations(ANNA)[0].title == "A line chart"
    assert portal.images.turns(answer.conversation_id, ANNA)[0].question.words == ""


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_template_has_its_words(portal, template, form, language):
    question = ImageQuestion("", (portal.upload(),), template=template, form=form)
    for _delta in portal.images.stream(question, actor=ANNA, language=language).deltas:
        pass
    assert "{" not in text_of(portal.model.requests[0].messages[-1])


def test_an_answer_can_be_given_again_in_other_words(portal):
    first = portal.ask("How much?", portal.upload())
    portal.model.reply = "It is 120."
    again = portal.images.regenerate(first.conversation_id, ANNA, "en")
    assert "".join(again.deltas) == "It is 120."
    assert [turn.text for turn in portal.images.turns(first.conversation_id, ANNA)] == ["It is 120."]
    assert portal.model.requests[1].temperature > 0


def test_a_stopped_answer_keeps_what_there_is(portal):
    portal.model.reply = "one two three four"
    answer = portal.images.stream(ImageQuestion("How much?", (portal.upload(),)), actor=ANNA, language="en")
    next(delta for delta in answer.deltas if delta)
    answer.deltas.close()
    assert (answer.outcome, answer.text) == ("cancelled", "one ")
    assert portal.event().outcome == "cancelled"


def test_a_picture_is_shown_only_to_whoever_has_it(portal):
    sha256 = portal.upload(actor=ANNA)
    assert portal.images.picture(sha256, ANNA).width == 200
    with pytest.raises(NotFound):
        portal.images.picture(sha256, USER)
    with pytest.raises(NotFound):
        portal.ask("What?", sha256, actor=USER)
    portal.ask("How much?", sha256)
    assert portal.images.picture(sha256, ANNA).sha256 == sha256
    with pytest.raises(NotFound):
        portal.images.picture(sha256, USER)


def test_deleting_a_conversation_discards_pictures_that_nobody_else_has(portal):
    own, shared = portal.upload("red"), portal.upload("blue")
    portal.upload("blue", actor=USER)
    mine = portal.ask("How much?", own, shared)
    portal.ask("How much?", shared, actor=USER)
    assert portal.kept() == {own, shared}
    with pytest.raises(NotFound):
        portal.images.delete(mine.conversation_id, USER)
    assert portal.kept() == {own, shared}
    portal.images.delete(mine.conversation_id, ANNA)
    assert portal.kept() == {shared}
    assert portal.images.picture(shared, USER)
    with pytest.raises(NotFound):
        portal.images.picture(shared, ANNA)


def test_a_question_in_anothers_conversation_keeps_nothing(portal):
    mine = portal.ask("How much?", portal.upload("red"))
    kept = portal.kept()
    with pytest.raises(NotFound):
        portal.ask("How?", portal.upload("blue", actor=USER), actor=USER, conversation_id=mine.conversation_id)
    assert portal.kept() == kept


def test_a_file_that_is_no_picture_is_refused_and_recorded(portal):
    with pytest.raises(UnreadableFile):
        portal.images.admit(b"<html>not a picture</html>", "page.png", ANNA)
    event = portal.event()
    assert (event.action, event.outcome, event.target) == ("image", "failed", "page.png")
    assert event.detail["outcome"] == "UnsupportedFormat"


@pytest.mark.parametrize(
    ("words", "number"), [("How much?", 0), ("How much?", 5), ("x" * 2001, 1)], ids=["none", "many", "long"]
)
def test_questions_that_cannot_be_asked_are_refused(portal, words, number):
    uploads = [portal.upload((at, 0, 0)) for at in range(number)]
    with pytest.raises(BadInput):
        portal.ask(words, *uploads)


def test_who_may_not_ask_may_not_upload(portal):
    with pytest.raises(Denied):
        portal.upload(actor=NO_ROLE)
    with pytest.raises(Denied):
        portal.ask("How much?", "0" * 64, actor=NO_ROLE)
    with pytest.raises(Denied):
        portal.images.picture("0" * 64, NO_ROLE)


def test_the_event_says_what_was_asked_about_which_picture_and_how(portal):
    answer = portal.ask("How much?", sha256 := portal.upload(), template=Template.BAR_CHART)
    detail = portal.event().detail
    assert (detail["mode"], detail["template"], detail["question"], detail["answer"]) == (
        "ocr",
        "bar_chart",
        "How much?",
        "120",
    )
    assert detail["images"] == [{"sha256": sha256, "width": 200, "height": 100, "format": "png"}]
    assert detail["text"] == "Sales in May: 120"
    assert detail["conversation_id"] == answer.conversation_id


def test_the_console_asks_about_a_file_and_keeps_nothing(portal, tmp_path):
    from services.operations import Operations

    path = tmp_path / "chart.png"
    path.write_bytes(png())
    portal.services.image_analysis = portal.images
    result = Operations(portal.services).run("image", {"path": str(path), "question": "How much?"})
    assert (result["answer"], result["mode"]) == ("120", "ocr")
    assert result["image"] == {"width": 200, "height": 100, "format": "png"}
    assert portal.kept() == set()
    assert portal.images.conversations(CONSOLE) == []
