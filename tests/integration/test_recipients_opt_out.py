"""Whose a "no" is: one of ours that Mailgun refused is not ours, so the recipient's own one stands later."""

from tests.integration.bench import Bench, consenting, identified, until
from tests.integration.modes import Mode, each_mode

JANE = "jane@example.com"
SETTINGS = {"MAILGUN_OPT_OUT_REFRESH_SECONDS": "1"}


def page_requests(own: Bench) -> int:
    """How many pages of members Mailgun was asked for."""
    return sum("/pages" in each.path for each in own.requests())


def put_consent(own: Bench, mode: Mode, *, marketing: bool) -> None:
    mode.put(own.redis, own.queue, consenting(identified(JANE), marketing=marketing))


@each_mode
def test_recipients_opt_out_after_a_refused_denial_stands(own: Bench, mode: Mode) -> None:
    with own.working(**{**SETTINGS, **mode.settings}):
        put_consent(own, mode, marketing=True)
        own.ended()
        assert own.member(JANE).subscribed
        own.sandbox.control.add_fault("status", status=401, method="POST", count=1)
        put_consent(own, mode, marketing=False)
        assert own.the_dead_letter().letter.reason == "unauthorized"
        own.sandbox.control.unsubscribe(JANE)
        if "MAILGUN_MEMBER_STATE" in mode.settings:
            seen = page_requests(own)
            until(lambda: page_requests(own) >= seen + 2, "readings of who opted out")
        put_consent(own, mode, marketing=True)
        own.ended()
    assert not own.member(JANE).subscribed
