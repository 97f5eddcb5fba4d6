"""GraphQL types of account holders."""

from typing import Annotated

import strawberry

from sandbox.customers import Company, Person


@strawberry.type
class IdentityDocument:
    """A national identity document."""

    country: str
    number: str


@strawberry.type
class Passport:
    """A passport."""

    country: str
    number: str


IdentifyingDocument = Annotated[IdentityDocument | Passport, strawberry.union("IdentifyingDocument")]


@strawberry.type
class Individual:
    """A natural person."""

    full_name: str
    email: str
    identifying_document: IdentifyingDocument


@strawberry.type
class Business:
    """A company."""

    name: str
    registration_number: str


AccountHolder = Annotated[Individual | Business, strawberry.union("AccountHolder")]


def account_holder(holder: Person | Company) -> Individual | Business:
    """Convert a holder to its GraphQL type."""
    if isinstance(holder, Company):
        return Business(name=holder.name, registration_number=holder.registration_number)
    document_type = Passport if holder.document_type == "passport" else IdentityDocument
    return Individual(
        full_name=holder.full_name,
        email=holder.email,
        identifying_document=document_type(country=holder.document_country, number=holder.document_number),
    )
