"""The delegate beside a proxy program: kept running, and at what it should serve."""

from ingresskit.apply.delegate.applier import DelegatingApplier
from ingresskit.apply.delegate.delegate import Delegate
from ingresskit.apply.delegate.options import DelegateOptions
from ingresskit.apply.delegate.traffic import front_record, with_delegate

__all__ = ["Delegate", "DelegateOptions", "DelegatingApplier", "front_record", "with_delegate"]
