"""Images from a Dockerfile: parse, decide what is already built, run the rest.

`lines` → `parser` → `stages` are pure text; `expand`, `ignore` and `cache` are pure rules;
`steps` and the modules it calls are the ones that touch a disk or run a program.
"""
