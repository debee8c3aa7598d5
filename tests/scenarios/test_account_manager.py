"""Max, account manager: wins a contract, delivers, is asked for changes, delivers again, and never touches money."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.stage import open_stage, until
from tollgate.access.rules import Role

API = "/api/v1"


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


async def made(answer: Any, status: int = 201) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def test_from_a_new_client_to_an_approved_milestone(database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, tmp_path) as stage:
        max_ = await stage.member("Max Berger", Role.ACCOUNT_MANAGER)
        program = await stage.api(Role.ACCOUNT_MANAGER)

        # He has a new client, and enters it by the program that his CRM runs.
        client = await made(
            await program.post(
                f"{API}/clients",
                json={
                    "legal_name": "Hafenkontor Linz AG",
                    "address": {"line1": "Hauptplatz 1", "postal_code": "4020", "city": "Linz"},
                    "country": "AT",
                    "tax_id": "ATU87654324",
                },
            )
        )
        clara = {"name": "Clara Huber", "email": "clara@hafen.example", "is_approver": True, "is_billing_contact": True}
        await made(await program.post(f"{API}/clients/{client['id']}/contacts", json=clara))
        assert "Hafenkontor Linz AG" in await max_.open("/clients")

        # The schedule does not add up yet: activation says by how much.
        contract = await made(
            await program.post(
                f"{API}/contracts",
                json={
                    "client_id": client["id"],
                    "title": "Website relaunch",
                    "value": eur("48000.00"),
                    "milestones": [
                        {"title": "Concept", "amount": eur("9600.00"), "acceptance_criteria": ["Twelve pages"]},
                        {"title": "Build", "amount": eur("38300.00")},
                    ],
                },
            )
        )
        await max_.open(f"/contracts/{contract['id']}")
        refused = await program.post(f"{API}/contracts/{contract['id']}/activation", json={})
        assert refused.status_code == 422 and "100.00" in refused.text, refused.text
        rows = [{"title": "Concept", "amount": eur("9600.00")}, {"title": "Build", "amount": eur("38400.00")}]
        patched = await program.patch(
            f"{API}/contracts/{contract['id']}", json={"milestones": rows}, headers={"If-Match": f'"{contract["version"]}"'}
        )
        await made(patched, 200)
        await max_.open(f"/contracts/{contract['id']}/activation")
        assert "Active" in await max_.send("/activation")
        (milestone,) = [row for row in (await program.get(f"{API}/milestones")).json()["items"] if row["title"] == "Concept"]

        # Delivering nothing is refused; he adds the file with the program, looks at the client's page, and sends it.
        nothing = await program.post(f"{API}/milestones/{milestone['id']}/delivery", json={})
        assert nothing.status_code == 409 and nothing.json()["type"].endswith("transition-refused")
        file = {"file": ("wireframes.txt", b"twelve pages", "text/plain")}
        added = await program.post(f"{API}/milestones/{milestone['id']}/deliverables", files=file)
        assert added.status_code == 201, added.text
        assert "wireframes.txt" in await max_.open(f"/milestones/{milestone['id']}/delivery")
        assert "Waiting for the client" in await max_.send("/delivery", send="1", message="Ready for your review.")

        # Clara wants a change; he reads why in his mail and on the page, mends it and delivers again.
        visitor = stage.visitor()
        await visitor.open(stage.link_in(await stage.mail("clara@hafen.example", "Concept"), "a"))
        await visitor.send("/changes", reason="Page seven is missing.", changes_name="Clara Huber")
        told = await stage.mail("max@nordlicht.example", "Concept")
        assert "Page seven is missing." in told["text"]
        assert "Page seven is missing." in await max_.open(f"/milestones/{milestone['id']}")
        await max_.open(f"/milestones/{milestone['id']}/delivery")
        assert "Waiting for the client" in await max_.send("/delivery", send="1", message="Page seven is there.")

        async def second_mail() -> Any:
            found = await stage.mail("clara@hafen.example", "Concept")
            return found if "Page seven is there." in found["text"] else None

        await visitor.open(stage.link_in(await until(second_mail), "a"))
        assert "You approved" in await visitor.send("/approval", signed_name="Clara Huber", agree="yes")

        # The invoice comes by itself. He sees it; issuing, voiding and payments are not for him.
        async def invoiced() -> Any:
            return (await program.get(f"{API}/milestones/{milestone['id']}")).json()["state"] == "invoiced"

        await until(invoiced)
        (invoice,) = (await program.get(f"{API}/invoices")).json()["items"]
        assert invoice["payable"] == eur("11520.00")
        void = await program.post(f"{API}/invoices/{invoice['id']}/void", json={"reason": "no"})
        assert void.status_code == 403, void.text
        paid = {"client_id": client["id"], "amount": eur("1.00"), "received_on": "2026-01-01", "method": "bank_transfer"}
        assert (await program.post(f"{API}/payments", json=paid)).status_code == 403
        await until(lambda: stage.mail("clara@hafen.example", invoice["number"]))
        await stage.sound()
