"""What the labs' prose says of results, a file a lab, each statement beside the numbers behind it.

`said(run)` of a file yields statements: words that must stand in the lab's prose, with numbers
made here of `data/results` or of the executed solution; or such words and whether they are true.
`tests/labs/test_statements.py` asks all of them.
"""
