"""Texts that attack the page that shows them (XS-01 to XS-06)."""

MARKUP = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "</textarea></title></style><svg onload=alert(3)>",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<iframe srcdoc='<script>alert(5)</script>'></iframe>",
    "{{7*7}} {% load inspector %} {# x #} ${7*7} #{7*7}",
    "javascript:alert(6) data:text/html,<script>alert(7)</script>",
    "\"><a href='javascript:alert(8)'>x</a> ' onmouseover='alert(9)",
    "<link rel=stylesheet href=//evil.example/x.css><base href=//evil.example>",
    "url(//evil.example/x.png) </style> @import '//evil.example'",
)
HTMX_MARKUP = (
    "<b hx-get='/sign-out' hx-trigger=load>x</b>",
    "<b hx-on:load='alert(10)' hx-on::load='alert(11)'>x</b>",
    "<b data-hx-get='//evil.example' data-hx-trigger='load'>x</b>",
    "<b hx-vals='js:{x: alert(12)}' hx-get=/help hx-trigger='load[alert(13)]'>x</b>",
)
INVISIBLE = (
    "user\u202enimda\u202c \u2066isolated\u2069",
    "zero\u200bwidth\u200c\u200d\ufeff joined",
    "tags \U000e0049\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",
    "selectors \U000e0101\U000e0102\ufe00",
    "p\u0430ypal and \u0410pple",
)
TERMINAL_CODES = (
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x1b]52;c;aGk=\x07",
    "safe\rEVIL\x08\x7f\x9b31m \u2028 \u2029 </script>",
)
ALL_TEXTS = (*MARKUP, *HTMX_MARKUP, *INVISIBLE, *TERMINAL_CODES)
