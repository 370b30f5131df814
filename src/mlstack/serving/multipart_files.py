"""multipart/form-data (RFC 7578, https://www.rfc-editor.org/rfc/rfc7578): the files of a form, parsed in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header

from mlstack.serving.input_problems import quoted, too_many
from mlstack.serving.problems import bad_request, too_large

FIELDS = ("file", "files", "image", "images")
OTHER_FIELDS = 16  # parts that are no pictures: a browser's form may have a few
MAX_HEADERS, MAX_HEADER_BYTES = 8, 4096  # of a part; RFC 7578 has three
MAX_BOUNDARY = 70  # of RFC 2046
EXAMPLE = "curl -F file=@cat.jpg …"


@dataclass(slots=True)
class _Part:
    name: str
    filename: str | None
    chunks: list[bytes] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


def read_files(content_type: str, body: bytes, max_images: int) -> list[bytes]:
    """The files of a form.

    Args:
        content_type: With its boundary.
        body: The form.
        max_images: Most files.

    Returns:
        What the parts called `file` (or `files`, `image`, `images`) hold, in their order.

    Raises:
        Problem: 400 for a broken form or one without such a file, 413 for too many parts.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise bad_request(
            f"multipart/form-data without a boundary: let the program that sends set the content type ({EXAMPLE})"
        )
    files = []
    for part in _parts(boundary, body, max_images + OTHER_FIELDS):
        if part.name in FIELDS:
            if part.data or part.filename:  # a browser sends an empty part where no file was chosen
                files.append(_file(part))
        elif part.filename is not None:
            raise bad_request(f"the file in field {quoted(part.name)} isn't taken: call the field file, {EXAMPLE}")
    if not files:
        raise bad_request(f"the form holds no file: {EXAMPLE}")
    if len(files) > max_images:
        raise too_many(len(files), max_images)
    return files


def _parts(boundary: str, body: bytes, limit: int) -> list[_Part]:
    parts: list[_Part] = []
    parser = PushMultipartParser(
        boundary, max_header_size=MAX_HEADER_BYTES, max_header_count=MAX_HEADERS, max_segment_count=limit
    )
    try:
        with parser:
            for event in parser.parse(body):
                if event is None:
                    continue
                if isinstance(event, bytes | bytearray):
                    parts[-1].chunks.append(bytes(event))
                else:
                    parts.append(_Part(event.name or "", event.filename))
    except ParserLimitReached as error:
        raise too_large(f"the form is refused: {error}; at most {limit} parts are taken") from None
    except (MultipartError, ValueError) as error:
        raise bad_request(f"the form is broken: {error.args[0]}; {EXAMPLE} writes one") from None
    return parts


def _file(part: _Part) -> bytes:
    if part.filename is None and len(part.data) < 1024 and part.data.isascii() and b"\0" not in part.data:
        given = quoted(part.data.decode())
        raise bad_request(f"field {part.name} holds the text {given} and no file: mind the @ in {EXAMPLE}")
    return part.data
