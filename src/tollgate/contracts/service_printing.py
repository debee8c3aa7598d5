"""Whether what is agreed can be printed: asked before a contract binds, for its words go on documents that stay as they are (R12)."""

from __future__ import annotations

from collections.abc import Sequence

from tollgate.contracts.models import Contract, Milestone
from tollgate.documents.printable import printing_problem
from tollgate.errors import FieldError
from tollgate.parties.models import Client, Organization


def printing_problems(contract: Contract, milestones: Sequence[Milestone], seller: Organization, client: Client) -> list[FieldError]:
    """Every field whose letters the documents' fonts lack. Pointers are those of `activation_problems`."""
    asked = [
        printing_problem("/title", contract.title),
        printing_problem("/reference", contract.reference),
        printing_problem("/purchase_order", contract.purchase_order),
        printing_problem("/buyer_reference", contract.buyer_reference),
    ]
    for index, row in enumerate(milestones):
        at = f"/milestones/{index}"
        asked += [
            printing_problem(f"{at}/title", row.title),
            printing_problem(f"{at}/description", row.description),
            printing_problem(f"{at}/acceptance_criteria", *row.acceptance_criteria),
            printing_problem(f"{at}/deliverables_expected", *row.deliverables_expected),
        ]
    return [problem for problem in asked if problem is not None] + party_printing_problems(seller, client)


def party_printing_problems(seller: Organization, client: Client) -> list[FieldError]:
    """The same for the parties alone: their names, addresses and numbers can change after the contract was agreed."""
    asked = []
    for at, party in (("/seller", seller), ("/buyer", client)):
        asked.append(printing_problem(f"{at}/legal_name", party.legal_name))
        for name in ("line1", "line2", "postal_code", "city", "region"):
            asked.append(printing_problem(f"{at}/address/{name}", getattr(party, name)))
        asked.append(printing_problem(f"{at}/tax_id", party.tax_id))
    for name in ("registration_number", "email", "phone", "website"):
        asked.append(printing_problem(f"/seller/{name}", getattr(seller, name)))
    asked.append(printing_problem("/seller/bank_account/bank_name", seller.bank_name))
    return [problem for problem in asked if problem is not None]
