"""The front between the connections and Django: no client holds a thread while it sends or reads.

A request is read whole, within a limit and a deadline, before a thread is taken; a caller has at most half of the
threads at a time; `/health` needs none.
"""
