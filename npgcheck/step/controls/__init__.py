"""Steps to test ``check_step`` with: right ones in several styles, and planted mistakes.

They are written as users write them and import nothing that judges them.
"""
