"""Sessions, forged forms, cookies and guessing: what an attacker tries at the door, with every web process counting together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.http.conftest import Clones
from tests.http.matrix import ROWS
from tests.http.matrix_requests import request_of
from tests.http.matrix_world import BASE, NOBODY, PASSWORD, Door, Ledger, as_link, as_member, as_owner, changed, transport_of
from tollgate import clock
from tollgate.access import limits, passwords, service
from tollgate.access.rules import Role
from tollgate.access.sessions import LIFETIME
from tollgate.db.database import Database
from tollgate.signoff.models import ApprovalLink
from tollgate.signoff.service_decisions import code_hash
from tollgate.signoff.service_input import CODE_ATTEMPTS

SAME = {"sec-fetch-site": "same-origin", "origin": BASE}
COUNTED_EMAIL, COUNTED_ADDRESS = limits.SIGN_IN_EMAIL.most, limits.SIGN_IN_ADDRESS.most


async def sign_in(
    door: Door, email: str, password: str = PASSWORD, headers: Mapping[str, str] | None = None, **more: str
) -> httpx.Response:
    """Send the sign-in form of a browser that is not signed in."""
    token = await door.token("/sign-in", NOBODY)
    fields = {"email": email, "password": password, "csrf_token": token, "form_key": str(uuid4()), **more}
    return await door.call("POST", "/sign-in", {**SAME, **(headers or {})}, data=fields)


def cookie_of(answer: httpx.Response, name: str = "tg-session") -> str:
    """The value that an answer sets; empty when it removes it."""
    found = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}="))
    return str(found.split(";")[0].partition("=")[2].strip('"'))


async def is_inside(door: Door, cookie: str) -> bool:
    """Whether a session's cookie still opens the home page."""
    return (await door.call("GET", "/clients", as_member(cookie))).status_code == 200


async def press(door: Door, cookie: str, address: str, **fields: str) -> httpx.Response:
    """Send a form of a member's page."""
    who = as_member(cookie)
    token = await door.token("/settings/password", who)
    return await door.call("POST", address, {**SAME, **who}, data={"csrf_token": token, "form_key": str(uuid4()), **fields})


# Fixation and rotation --------------------------------------------------------------------------------------------------


async def test_a_session_of_the_callers_choosing_is_neither_adopted_nor_opened(door: Door, ledger: Ledger) -> None:
    chosen = "a" * 43
    before = await ledger.digest()
    assert not await is_inside(door, chosen)
    assert changed(before, await ledger.digest()) == []
    answer = await sign_in(door, door.world.own.emails["viewer"], headers=as_member(chosen))
    assert answer.status_code == 303
    assert cookie_of(answer) != chosen
    assert not await is_inside(door, chosen)


async def test_signing_in_again_replaces_the_session_that_was_there(door: Door) -> None:
    own = door.world.own
    first = cookie_of(await sign_in(door, own.emails["viewer"]))
    again = await press(door, first, "/sign-in", email=own.emails["finance"], password=PASSWORD)
    assert again.status_code == 303
    assert not await is_inside(door, first)
    assert await is_inside(door, cookie_of(again))


@pytest.mark.parametrize("what", ["role", "password", "organization"])
async def test_a_step_up_or_down_gives_a_new_cookie_and_ends_the_old_one(door: Door, what: str) -> None:
    own = door.world.own
    cookie, elsewhere = own.cookies["admin"], cookie_of(await sign_in(door, own.emails["admin"]))
    other = await service.create_member(
        door.database, own.org.command(), email="second@x.example", name="Second", role=Role.ADMIN, password=PASSWORD
    )
    assert other.id
    match what:
        case "role":
            answer = await press(door, cookie, f"/settings/members/{own.ids['member_admin']}", name="A", role="viewer", version="1")
        case "password":
            new = "seven quiet lanterns over water"
            answer = await press(door, cookie, "/settings/password", current=PASSWORD, new=new, again=new)
        case _:
            answer = await press(door, cookie, "/organizations", organization_id=own.ids["sister"])
    assert answer.status_code == 303, answer.text
    fresh = cookie_of(answer)
    assert fresh != cookie
    assert await is_inside(door, fresh)
    assert not await is_inside(door, cookie)
    # Another browser of the same person stays signed in only when nothing of their rights or password has changed.
    assert await is_inside(door, elsewhere) == (what == "organization")


async def test_signing_out_kills_the_session_for_every_copy_of_its_cookie(door: Door, ledger: Ledger) -> None:
    cookie = cookie_of(await sign_in(door, door.world.own.emails["viewer"]))
    answer = await press(door, cookie, "/sign-out")
    assert (answer.status_code, cookie_of(answer)) == (303, "")
    assert not await is_inside(door, cookie)


async def test_who_is_removed_is_out_at_once_and_cannot_come_back(door: Door) -> None:
    own = door.world.own
    cookie = cookie_of(await sign_in(door, own.emails["finance"]))
    await service.remove_member(door.database, own.org.command(), UUID(own.ids["member_finance"]), 1)
    assert not await is_inside(door, cookie)
    assert not await is_inside(door, own.cookies["finance"])
    assert (await sign_in(door, own.emails["finance"])).status_code == 401


async def test_a_session_ends_by_itself(door: Door) -> None:
    cookie = cookie_of(await sign_in(door, door.world.own.emails["viewer"]))
    with clock.shifted(LIFETIME - timedelta(minutes=1)):
        assert await is_inside(door, cookie)
    with clock.shifted(LIFETIME + timedelta(minutes=1)):
        assert not await is_inside(door, cookie)


# Twice, and back to where one was ---------------------------------------------------------------------------------------


async def test_the_sign_in_form_pressed_twice_goes_on(door: Door) -> None:
    """The second press carries the first one's cookie and a token that is stale under it."""
    own = door.world.own
    first = await sign_in(door, own.emails["viewer"], next="/clients")
    again = await sign_in(door, own.emails["viewer"].upper(), headers=as_member(cookie_of(first)), next="/clients")
    assert [(one.status_code, one.headers.get("location")) for one in (first, again)] == [(303, "/clients")] * 2
    assert await is_inside(door, cookie_of(first))
    # As somebody else it is a stale form: nobody is taken for another without saying so.
    other = await sign_in(door, own.emails["finance"], headers=as_member(cookie_of(first)))
    assert other.status_code == 403
    # And a form that another site sent stays refused, whoever is signed in.
    crossing = {**as_member(cookie_of(first)), "sec-fetch-site": "cross-site"}
    assert (await sign_in(door, own.emails["viewer"], headers=crossing)).status_code == 403


async def test_signing_in_comes_back_to_the_filter_that_was_asked_for(door: Door) -> None:
    asked = await door.call("GET", "/invoices?state=overdue&client_id=abc%20d")
    place = httpx.URL(asked.headers["location"])
    assert (asked.status_code, place.path) == (303, "/sign-in")
    assert place.params["next"] == "/invoices?state=overdue&client_id=abc%20d"
    answer = await sign_in(door, door.world.own.emails["viewer"], next=place.params["next"])
    assert answer.headers["location"] == "/invoices?state=overdue&client_id=abc%20d"


# Forged forms -----------------------------------------------------------------------------------------------------------


async def test_no_form_is_taken_without_its_own_token_and_place(door: Door, ledger: Ledger) -> None:
    """Every form of a member, sent five wrong ways, changes nothing."""
    own = door.world.own
    admin, finance = as_member(own.cookies["admin"]), as_member(own.cookies["finance"])
    good = await door.token("/settings/password", admin)
    of_another = await door.token("/settings/password", finance)
    link = as_link(own.ids["link_delivered"], own.links["delivered"])
    of_a_link = await door.token(f"/sign/{own.ids['link_delivered']}", link)
    of_nobody = await door.token("/sign-in", NOBODY)
    wrong: list[tuple[str, str | None, Mapping[str, str]]] = [
        ("no token", None, SAME),
        ("an empty token", "", SAME),
        ("a made-up token", "0" * 24 + "." + "0" * 64, SAME),
        ("another session's token", of_another, SAME),
        ("a client's page's token", of_a_link, SAME),
        ("nobody's token", of_nobody, SAME),
        ("another site", good, {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}),
        ("a neighbour host", good, {"sec-fetch-site": "same-site", "origin": "http://evil.127.0.0.1"}),
        ("another origin, no fetch metadata", good, {"origin": "https://evil.example"}),
        ("an origin that is hidden", good, {"origin": "null"}),
    ]
    taken, before = [], await ledger.digest()
    forms = [
        row for row in ROWS if row.writes and not row.is_api and not row.signed and row.needs in {"read", "contracts", "billing", "admin"}
    ]
    for row in forms:
        asked = await request_of(door, row, own)
        for name, token, headers in wrong:
            fields = {**(asked.form or {}), "form_key": str(uuid4()), **({} if token is None else {"csrf_token": token})}
            answer = await door.call("POST", asked.address, {**headers, **admin}, data=fields)
            if answer.status_code != 403:
                taken.append(f"{row.name} with {name}: {answer.status_code}")
    assert not taken, "\n" + "\n".join(taken)
    assert changed(before, await ledger.digest()) == []
    print(f"\nforged: {len(forms)} forms × {len(wrong)} ways")


async def test_a_clients_form_is_taken_only_under_its_own_links_cookie(door: Door, ledger: Ledger) -> None:
    own, foreign = door.world.own, door.world.foreign
    address = f"/sign/{own.ids['link_delivered']}"
    held = as_link(own.ids["link_delivered"], own.links["delivered"])
    other = as_link(own.ids["link_paper"], own.links["paper"])
    tokens = {
        "none": "",
        "of another link": await door.token(f"/sign/{own.ids['link_paper']}", other),
        "of a member": await door.token("/settings/password", as_member(own.cookies["admin"])),
        "of nobody": await door.token("/sign-in", NOBODY),
    }
    body = {"signed_name": "Clara", "agree": "yes", "content_sha256": own.ids["content_delivered"]}
    before = await ledger.digest()
    for name, token in tokens.items():
        answer = await door.call(
            "POST", f"{address}/approval", {**SAME, **held}, data={**body, "csrf_token": token, "form_key": str(uuid4())}
        )
        assert answer.status_code == 403, name
    good = await door.token(address, held)
    thieves = [NOBODY, other, as_member(own.cookies["admin"]), as_link(own.ids["link_delivered"], foreign.links["delivered"])]
    for who in thieves:
        answer = await door.call(
            "POST", f"{address}/approval", {**SAME, **who}, data={**body, "csrf_token": good, "form_key": str(uuid4())}
        )
        assert answer.status_code == 403
    assert changed(before, await ledger.digest()) == []


# Cookies ----------------------------------------------------------------------------------------------------------------


async def test_cookies_say_who_may_have_them(clones: Clones) -> None:
    for base, prefix, secure in ((BASE, "", False), ("https://bills.example", "__Host-", True)):
        door, _ledger = await clones.clone(base_url=base)
        headers = {"origin": base, "host": base.partition("//")[2]}
        session = (await sign_in(door, door.world.own.emails["viewer"], headers=headers)).headers.get_list("set-cookie")
        link = (await door.call("GET", f"/a/{door.world.own.links['delivered']}")).headers.get_list("set-cookie")
        for name, cookies in (("tg-session", session), ("tg-link-", link)):
            (found,) = [cookie for cookie in cookies if cookie.startswith(prefix + name)]
            parts = {part.strip().lower() for part in found.split(";")[1:]}
            assert {"httponly", "path=/", "samesite=lax"} <= parts, found
            assert ("secure" in parts) == secure, found
            assert not any(part.startswith("domain") for part in parts), found


# Guessing ---------------------------------------------------------------------------------------------------------------


async def second_instance(clones: Clones, door: Door) -> Door:
    """Another web process over the same database."""
    database = Database(door.database.url, pool_size=2)
    made = Door.onto(door.settings, database, door.world, door.owner_url)
    clones.others.append(made)
    return made


def at(ip: str, door: Door) -> Door:
    """The same process, met from another address."""
    web = httpx.AsyncClient(transport=transport_of(door.app, ip), base_url=BASE)
    return Door(door.app, door.settings, door.database, door.world, web, door.owner_url)


async def test_an_accounts_failures_are_counted_together_whatever_process_and_address(clones: Clones, door: Door) -> None:
    email, other = door.world.own.emails["viewer"], await second_instance(clones, door)
    for number in range(COUNTED_EMAIL):
        guess = await sign_in(at(f"198.51.100.{number + 1}", (door, other)[number % 2]), email if number % 3 else email.upper(), "wrong")
        assert guess.status_code == 401, number
    for instance in (door, other):
        refused = await sign_in(at("203.0.113.200", instance), email)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
    # Only that account: somebody else comes in from the same place, and this one again after a while.
    assert (await sign_in(at("203.0.113.200", other), door.world.own.emails["finance"])).status_code == 303
    with clock.shifted(limits.SIGN_IN_EMAIL.window + timedelta(seconds=1)):
        assert (await sign_in(at("203.0.113.200", other), email)).status_code == 303


async def test_an_addresss_failures_are_counted_over_all_accounts(clones: Clones, door: Door) -> None:
    """Against one password tried on everybody. An IPv6 attacker has a whole /64 of addresses, which count as one."""
    other = await second_instance(clones, door)
    for number in range(COUNTED_ADDRESS - 2):
        # Counted as the form does, without its password hash: fifty of those take a while.
        database, network = (door, other)[number % 2].database, limits.network_of(f"2001:db8::{number + 1:x}")
        await limits.attempt(database, limits.SIGN_IN_ADDRESS, network, door.settings.secret_key)
    for number, instance in enumerate((door, other)):
        guessed = await sign_in(at(f"2001:db8::{number + 900}", instance), f"nobody-{number}@x.example", "wrong")
        assert guessed.status_code == 401, number
    assert (await sign_in(at("2001:db8::ffff", other), door.world.own.emails["viewer"])).status_code == 429
    assert (await sign_in(at("2001:db8:0:1::1", other), door.world.own.emails["viewer"])).status_code == 303


async def test_success_does_not_use_attempts_up_and_failures_stay_counted(door: Door) -> None:
    email = door.world.own.emails["viewer"]
    for _time in range(COUNTED_EMAIL - 1):
        assert (await sign_in(door, email, "wrong")).status_code == 401
    for _time in range(3):
        assert (await sign_in(door, email)).status_code == 303
    assert (await sign_in(door, email, "wrong")).status_code == 401
    assert (await sign_in(door, email)).status_code == 429


async def test_who_has_an_account_is_not_told_apart_from_who_has_none(door: Door, ledger: Ledger) -> None:
    """The same answer, the same rows, and the same work: one password hash either way."""
    told = []
    for email in (door.world.own.emails["viewer"], "nobody@eigen.example"):
        before = await ledger.digest()
        answer = await sign_in(door, email, "wrong")
        headers = {name: value for name, value in answer.headers.items() if name not in {"date", "content-length"}}
        told.append((answer.status_code, headers, re.sub(r'value="[^"]*"', "", answer.text), changed(before, await ledger.digest())))
    assert told[0] == told[1]
    for email in (door.world.own.emails["viewer"], "nobody@eigen.example"):
        refusals = [(await sign_in(door, email, "wrong")).status_code for _time in range(COUNTED_EMAIL)]
        assert refusals == [401] * (COUNTED_EMAIL - 1) + [429], email


async def test_a_wrong_password_takes_the_work_of_a_right_one_for_anybody(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: an unknown address costs one verification too."""
    done: list[bool] = []
    verify = passwords.is_right

    async def counting(stored: str | None, typed: str) -> bool:
        done.append(stored is None)
        return await verify(stored, typed)

    monkeypatch.setattr(passwords, "is_right", counting)
    await sign_in(door, door.world.own.emails["viewer"], "wrong")
    await sign_in(door, "nobody@eigen.example", "wrong")
    assert done == [False, True]


async def test_nothing_that_names_a_person_is_kept_of_an_attempt(door: Door) -> None:
    await sign_in(at("198.51.100.77", door), "somebody@eigen.example", "wrong")
    connection = await as_owner(door.owner_url)
    try:
        rows = " ".join(str(row[0]) for row in await connection.fetch("select t::text from attempt t"))
    finally:
        await connection.close()
    assert rows
    assert "somebody" not in rows and "198.51" not in rows and b"somebody".hex() not in rows


async def test_a_mailed_codes_guesses_are_counted_per_link_in_every_process(clones: Clones, door: Door, ledger: Ledger) -> None:
    """A copied link asks for a code: after some wrong ones the right one is not taken either, until a new one was mailed."""
    other, own = await second_instance(clones, door), door.world.own
    link_id = UUID(own.ids["link_delivered"])
    await mailed_code(door, link_id)
    before = await ledger.digest(without=("approval_link",))
    for number in range(CODE_ATTEMPTS):
        refused = await guess((door, other)[number % 2], f"{number:06d}")
        assert (refused.status_code, "is not the code" in refused.text) == (409, True)
    for instance in (door, other):
        late = await guess(instance, "123456")
        assert (late.status_code, "too many wrong codes" in late.text) == (409, True)
    assert changed(before, await ledger.digest(without=("approval_link",))) == []
    await mailed_code(door, link_id)
    assert (await guess(other, "123456")).status_code == 303


async def mailed_code(door: Door, link_id: UUID) -> None:
    """A new code was mailed, as the sender of mails writes it down."""
    async with door.database.transaction(door.world.own.org.id) as session:
        link = await session.get_one(ApprovalLink, (door.world.own.org.id, link_id))
        link.code_sha256, link.code_attempts = code_hash(link_id, "123456"), 0
        link.code_expires_at = clock.now() + timedelta(minutes=15)


async def guess(door: Door, code: str) -> httpx.Response:
    """Approve through the copied link, with a code."""
    own = door.world.own
    address, who = f"/sign/{own.ids['link_delivered']}", as_link(own.ids["link_delivered"], own.links["copied"])
    fields = {"signed_name": "Clara", "agree": "yes", "content_sha256": own.ids["content_delivered"], "code": code}
    fields |= {"csrf_token": await door.token(address, who), "form_key": str(uuid4())}
    return await door.call("POST", f"{address}/approval", {**SAME, **who}, data=fields)


async def test_asking_for_codes_and_links_is_counted_too(door: Door) -> None:
    """The one-button forms that mail something answer with a notice once they were pressed too often."""
    own = door.world.own
    who = as_link(own.ids["link_delivered"], own.links["copied"])
    token = await door.token(f"/sign/{own.ids['link_delivered']}", who)
    for _time in range(8):
        fields = {"csrf_token": token, "form_key": str(uuid4())}
        answer = await door.call("POST", f"/sign/{own.ids['link_delivered']}/code", {**SAME, **who}, data=fields)
        assert answer.status_code == 303
    async with door.database.reading(own.org.id) as session:
        asked = await session.scalar(text("select count(*) from mail_message where template like '%code%'"))
    assert 1 <= int(asked or 0) <= 5
