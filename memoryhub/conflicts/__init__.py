"""Conflicts: active memories of one key that say different things, and what people and policies decide about them.

`detector/` compares texts and knows nothing of the database.
    `compare`: the class of two values and of a group. `parse`, `sentences`, `features`: what it is computed from.
    `lexicon`, `weights`: data. `comparison`, beside the folder, adds the configured language model in cases of doubt.

`groups/` answers which groups there are, for a clearance at a point in time.
    `group_keys`: keys, their public ids, and the evidence of members. `open_groups`: the rule which groups are open.
    `groups`: filters, pages, one group, the next group. `group_queries`: the SQL of these. `class_counts`: how many of
    each class. `class_cache`: stored classes. `similar`: groups that can be resolved alike. `consistency`: a recount.

`decisions/` resolves groups.
    `outcomes`: the table of outcomes. `resolution_requests`: what is requested, and the refusals. `plans`: what a
    request would do. `resolve`: carries plans out, and undoes decisions. `claims`: who decides about a group just now.
    `querysets`: which decisions a clearance sees, and which are in force. `decision_queries`: decisions for output.

`policies/` decides groups without people.
    `policies`: their versions. `rules`: how a rule chooses a value. `policy_evaluation`: what a policy would do with
    each open group. `dry_runs`: that, page by page. `policy_runs`: doing it, step by step.
"""
