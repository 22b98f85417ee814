"""The front between connections and Django: no client occupies a thread while it sends or reads.

A request is read completely, within a limit and a deadline, before it gets a thread. A caller has at most half of the
threads at a time. `/health` needs no thread.
"""
