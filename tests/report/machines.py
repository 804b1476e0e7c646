"""What the tests of reports for machines share: hostile names, and a reader of Markdown that they do not write."""

from __future__ import annotations

from html.parser import HTMLParser

from markdown_it import MarkdownIt

HOSTILE = {
    "html": "<script>alert(1)</script> & </code></td>",
    "table": "a | b || c\\| d \\",
    "ticks": "`one` ``two`` ```\n```",
    "lines": "one\ntwo\r\n\n| x | y |\n|---|---|\n# heading",
    "emphasis": "*a* __init__ ~~b~~ **c** _d_ $x^2$ ![i](http://x/y.png) [l](javascript:x) www.example.org",
    "commands": "100% ::set-output name=a::b, c:d %0A",
    "left": "abc\u202edef \u05d0\u05d1",
    "emoji": "\U0001f9ea \u0000 \x1b[31m",
    "long": "ab|`" * 2500,
}


class Seen(HTMLParser):
    """What a reader sees of a page: tags in order, texts of cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th"):
            self._in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1] += data


def seen(markdown: str) -> Seen:
    """Return what a page shows of GitHub's Markdown, HTML in it included."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Seen(reader.render(markdown))
