"""embed.py HTML CSS SCRIPT...: the status page as one file, on stdout; with --cc as a C++ source that holds it.

The page loads nothing from anywhere: style and scripts stand in it. The C++ source also holds the page's
Content-Security-Policy, which names the hash of the script: a browser runs no other, wherever it comes from.
"""

import base64
import hashlib
import sys

PIECE = 8000  # bytes of a string literal; compilers take 64 KiB at least
DELIMITER = "page"


def fill(html, mark, text):
    if html.count(mark) != 1:
        sys.exit(f"embed.py: {mark} must stand in the page once")
    return html.replace(mark, text)


def literal(text):
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return "\n".join(f'R"{DELIMITER}({piece}){DELIMITER}"' for piece in pieces)


def main(arguments):
    as_cc = arguments[0] == "--cc"
    html, style, *scripts = (open(path, encoding="utf-8").read() for path in arguments[as_cc:])
    script = '"use strict";\n' + "".join(scripts)
    if "</script" in script or "</style" in style:
        sys.exit("embed.py: the script or the style would end its own element")
    page = fill(fill(html, "/*STYLE*/", style), "/*SCRIPT*/", script)
    if not as_cc:
        return page
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return f"""#include "server/page/status_page.h"

namespace leeway {{

const char kStatusPage[] =
{literal(page)};
const char kStatusPagePolicy[] = "{policy}";

}}  // namespace leeway
"""


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
