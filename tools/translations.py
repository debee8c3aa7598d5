"""Keep the catalogs: extract every marked message, update and compile each shipped language, or check that all is done.

    python tools/translations.py            write messages.pot, update and compile the catalogs
    python tools/translations.py --check    exit 1 when the template is out of date or a shipped catalog is incomplete
    python tools/translations.py --add de   begin a catalog

Messages are marked with `_()` and `ngettext()` in Python and in the pages' templates; English is what they are written in.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
LOCALES = SOURCE / "tollgate" / "i18n" / "locales"
METHODS = [("**/templates/**.html", "jinja2"), ("**/templates/**.txt", "jinja2"), ("**.py", "python")]
OPTIONS = {
    "**/templates/**.html": {"encoding": "utf-8", "trimmed": "true", "silent": "false", "extensions": "jinja2.ext.do"},
    "**/templates/**.txt": {"encoding": "utf-8", "trimmed": "true", "silent": "false", "extensions": "jinja2.ext.do"},
}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
# A fixed date: the template changes when a message changes, and not because somebody ran this.
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


def extract(source: Path = SOURCE) -> Catalog:
    """Every marked message below `source`, with the files it stands in. Line numbers are left out, they change with every edit."""
    catalog = Catalog(
        project="Tollgate", msgid_bugs_address="", copyright_holder="Tollgate", creation_date=WRITTEN, charset="utf-8", fuzzy=False
    )
    catalog.header_comment = "# Messages of Tollgate, in English as they are written. Made by tools/translations.py."
    found = extract_from_dir(source, METHODS, OPTIONS, keywords=KEYWORDS, comment_tags=["translators:"], strip_comment_tags=True)
    for name, _line, message, comments, context in sorted(found, key=lambda entry: (entry[0], entry[1])):
        catalog.add(message, locations=[(Path(name).as_posix(), 0)], auto_comments=comments, context=context)
    return catalog


def written(catalog: Catalog) -> bytes:
    """A catalog as the text of a .po file."""
    out = io.BytesIO()
    write_po(out, catalog, width=120, sort_by_file=True, include_lineno=False)
    return out.getvalue()


def catalogs(locales: Path = LOCALES) -> list[Path]:
    """The catalogs that are shipped."""
    return sorted(locales.glob("*/LC_MESSAGES/messages.po"))


def read(path: Path) -> Catalog:
    """A catalog from its file; its folder names the locale."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name)


def untranslated(catalog: Catalog, template: Catalog) -> list[str]:
    """Messages of the template that the catalog lacks, leaves empty or marks as uncertain, or whose placeholders do not agree."""
    missing: list[str] = []
    for message in template:
        if not message.id:
            continue
        own = catalog.get(message.id, message.context)
        texts = [] if own is None else list(own.string) if isinstance(own.string, tuple) else [own.string]
        wrong = own is None or own.fuzzy or not texts or not all(texts) or any(True for _error in own.check(catalog))
        if wrong:
            missing.append(message.id if isinstance(message.id, str) else message.id[0])
    return missing


def problems(source: Path = SOURCE, locales: Path = LOCALES) -> list[str]:
    """What `--check` complains about, a line each."""
    template, pot = extract(source), locales / "messages.pot"
    found = []
    if not pot.exists() or pot.read_bytes() != written(template):
        found.append(f"{pot.name} is out of date: run tools/translations.py")
    for path in catalogs(locales):
        missing = untranslated(read(path), template)
        found += [f"{path.parent.parent.name}: not translated: {text!r}" for text in missing]
        compiled = path.with_suffix(".mo")
        if not compiled.exists() or compiled.read_bytes() != _compiled(read(path)):
            found.append(f"{path.parent.parent.name}: {compiled.name} is out of date: run tools/translations.py")
    return found


def update(source: Path = SOURCE, locales: Path = LOCALES, add: Iterable[str] = ()) -> int:
    """Write the template and bring every catalog up to it; returns the number of messages."""
    template = extract(source)
    locales.mkdir(parents=True, exist_ok=True)
    (locales / "messages.pot").write_bytes(written(template))
    for tag in add:
        path = locales / tag.replace("-", "_") / "LC_MESSAGES" / "messages.po"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            begun = Catalog(locale=tag.replace("-", "_"), project="Tollgate", creation_date=WRITTEN, revision_date=WRITTEN, fuzzy=False)
            path.write_bytes(written(begun))
    for path in catalogs(locales):
        catalog = read(path)
        catalog.update(template, no_fuzzy_matching=False)
        path.write_bytes(written(catalog))
        path.with_suffix(".mo").write_bytes(_compiled(catalog))
    return len(template)


def _compiled(catalog: Catalog) -> bytes:
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Keep the message catalogs.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when something is missing")
    parser.add_argument("--add", action="append", default=[], metavar="TAG", help="begin a catalog for a language")
    chosen = parser.parse_args(arguments)
    if chosen.check:
        found = problems()
        for line in found:
            print(line)
        if not found:
            print(f"translations: {len(extract())} messages, {len(catalogs())} catalogs, complete")
        return 1 if found else 0
    print(f"translations: {update(add=chosen.add)} messages written, {len(catalogs())} catalogs updated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
