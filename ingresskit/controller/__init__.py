"""The loop: wait for a change, translate, render, plan, apply, report."""
