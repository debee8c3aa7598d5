"""Designs: found, read strictly, and overridden by an organization within limits."""

import shutil
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.documents import samples
from tollgate.documents import Theme, ThemeOverrides, load_theme, render_invoice, templates_folder
from tollgate.documents.logo import MAX_LOGO_BYTES
from tollgate.documents.theme import _luminance
from tollgate.errors import Invalid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the designs that a test may spoil."""
    shutil.copytree(templates_folder() / "classic", tmp_path / "classic")
    return tmp_path


def spoil(folder: Path, old: str, new: str) -> None:
    path = folder / "classic" / "theme.toml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def line_of(folder: Path, text: str) -> int:
    lines = (folder / "classic" / "theme.toml").read_text().splitlines()
    [number] = [number for number, line in enumerate(lines, 1) if line.strip() == text.strip()]
    return number


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("margin_top = 48", "margin_tip = 48", "margin_tip"),
        ("margin_top = 48", "margin_top = 480", "144"),
        ("margin_top = 48", 'margin_top = "48"', "float"),
        ("body = 8.75", "body = 1", "5"),
        ('ink = "#1B2430"', 'ink = "black"', "regex"),
        ('size = "A4"', 'size = "A3"', "A3"),
        ('title = "Classic"', 'title = "Classic"\nscript = "run me"', "script"),
        ("max_width = 150", "max_width = 150\nfile = 7", "str"),
        ('regular = "fonts/Inter-Regular.ttf"', 'regular = "fonts/None.ttf"', "no file"),
        ('regular = "fonts/Inter-Regular.ttf"', 'regular = "../../../etc/passwd"', "regex"),
        ('regular = "fonts/Inter-Regular.ttf"', 'regular = "fonts/../../x.ttf"', "leads out"),
        ('regular = "fonts/Inter-Regular.ttf"', 'regular = "fonts/OFL.txt"', "not a usable TrueType font"),
        ("max_width = 150", 'max_width = 150\nfile = "fonts/OFL.txt"', "no PNG or JPEG"),
        ("leading = 1.45", "leading = = 1.45", "line"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_file_and_line(folder: Path, old: str, new: str, reason: str) -> None:
    spoil(folder, old, new)
    with pytest.raises(Invalid) as refused:
        load_theme("classic", folder=folder)
    message = str(refused.value)
    assert message.startswith(f"classic/theme.toml, line {line_of(folder, new.splitlines()[-1])}: ")
    assert reason in message


@pytest.mark.parametrize("name", ["../classic", "Classic", "", "a/b", "nothing-here", "classic\x00"])
def test_a_name_that_is_no_design_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        load_theme(name)


def test_a_missing_key_names_its_table(folder: Path) -> None:
    spoil(folder, "body = 8.75\n", "")
    with pytest.raises(Invalid) as refused:
        load_theme("classic", folder=folder)
    assert str(refused.value).startswith(f"classic/theme.toml, line {line_of(folder, '[sizes]')}: ")
    assert "body" in str(refused.value)


def test_an_edited_theme_is_read_again_and_has_another_hash(folder: Path) -> None:
    before = load_theme("classic", folder=folder)
    spoil(folder, "title = 22", "title = 23")
    after = load_theme("classic", folder=folder)
    assert before.sha256 != after.sha256
    assert before.styles.title.size == 22 and after.styles.title.size == 23


def test_the_hash_covers_overrides_and_is_stable() -> None:
    plain = load_theme()
    variants = [
        ThemeOverrides(accent="#112233"),
        ThemeOverrides(logo=samples.logo()),
        ThemeOverrides(logo=samples.logo(), accent="#112233"),
        ThemeOverrides(link_hosts=frozenset({"a.example"})),
    ]
    hashes = {plain.sha256, *(load_theme(overrides=each).sha256 for each in variants)}
    assert len(hashes) == 5
    assert all(len(each) == 64 for each in hashes)
    assert load_theme(overrides=variants[0]) is load_theme(overrides=variants[0])


def test_an_accent_is_used_and_text_in_it_stays_readable() -> None:
    theme: Theme = load_theme(overrides=ThemeOverrides(accent="#FFE600"))
    assert theme.accent == "1 0.902 0"
    channels = tuple(float(part) for part in theme.styles.total.colour.split())
    assert 1.05 / (_luminance((channels[0], channels[1], channels[2])) + 0.05) > 4.4


@pytest.mark.parametrize("accent", ["red", "#12345", "#GGGGGG", "#112233 rg (x) Tj", "javascript:1", ""])
def test_what_is_no_colour_is_refused(accent: str) -> None:
    with pytest.raises(Invalid):
        load_theme(overrides=ThemeOverrides(accent=accent))


def image(kind: str, size: tuple[int, int] = (300, 100), mode: str = "RGB") -> bytes:
    output = BytesIO()
    Image.new(mode, size, 128 if mode in ("L", "P") else (200, 30, 30)).save(output, kind)
    return output.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        image("PNG"),
        image("JPEG"),
        image("PNG", mode="L"),
        image("PNG", mode="P"),
        image("PNG", (1, 1)),
        image("PNG", (4000, 10)),
        samples.logo(),
    ],
)
def test_png_and_jpeg_logos_are_drawn(data: bytes) -> None:
    theme = load_theme(overrides=ThemeOverrides(logo=data))
    assert theme.logo is not None
    assert b"/Subtype /Image" in render_invoice(samples.invoice(), theme)
    assert data not in render_invoice(samples.invoice(), theme)


def test_a_logo_is_scaled_down_so_that_documents_stay_small() -> None:
    theme = load_theme(overrides=ThemeOverrides(logo=samples.logo(4000, 1000)))
    assert theme.logo is not None
    assert theme.logo.width <= 900 and theme.logo.height <= 400
    assert len(render_invoice(samples.invoice(), theme)) < 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 50,
        image("PNG")[:-30],
        image("GIF"),
        image("BMP"),
        b"%PDF-1.4",
        image("PNG") + b"\x00" * MAX_LOGO_BYTES,
    ],
    ids=["empty", "svg", "broken", "cut", "gif", "bmp", "pdf", "large"],
)
def test_anything_else_is_no_logo(data: bytes) -> None:
    with pytest.raises(Invalid):
        load_theme(overrides=ThemeOverrides(logo=data))


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Invalid) as refused:
        load_theme(overrides=ThemeOverrides(logo=image("PNG", (6000, 6000), "L")))
    assert "million pixels" in str(refused.value)


def test_every_design_has_its_fonts_licence_beside_them() -> None:
    for theme in templates_folder().iterdir():
        if (theme / "fonts").is_dir():
            assert "SIL OPEN FONT LICENSE" in (theme / "fonts" / "OFL.txt").read_text()


def test_designs_of_an_installed_wheel_come_before_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "_data" / "invoice_templates"
    installed.mkdir(parents=True)
    monkeypatch.setattr("tollgate.documents.theme.files", lambda package: tmp_path)
    assert templates_folder() == installed


def test_without_any_designs_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollgate.documents.theme.files", lambda package: tmp_path)
    monkeypatch.setattr("tollgate.documents.theme.__file__", str(tmp_path / "a" / "b" / "c" / "theme.py"))
    with pytest.raises(FileNotFoundError, match="invoice_templates"):
        templates_folder()
