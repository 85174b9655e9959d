"""
The oracle itself is put to the test: known bugs, each planted into a copy of the package, must be judged a failure.

``python -m tests.chaos.seeded`` plants one after the other, runs the check that should see it, and prints which did. No
line of the product knows of this: a bug is a substitution of text in a copy, and says so loudly where its text is gone.
"""
