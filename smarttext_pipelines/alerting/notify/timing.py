"""How long the protocol of the outbox waits. Pure."""

from dataclasses import dataclass
from datetime import timedelta

CRITICAL = "critical"


@dataclass(frozen=True)
class Timing:
    """How long the protocol waits; lease and reconcile delay each exceed the provider's listing lag.

    Attributes:
        lease: How long a claim holds.
        least_left: Part of the lease that must be left to begin sending; exceeds the timeouts of the request.
        reconcile_delay: Wait before a provider is asked whether it has a message.
        longest_wait: Bound of the wait, which doubles with each attempt.
        look_up_delay: Wait of a critical notice before a provider that did not answer is asked again.
        most_attempts: Attempts without an answer after which it is given up.
        most_critical_attempts: The same for a critical notice, which waits less: about two hours, as for the others.
    """

    lease: timedelta = timedelta(seconds=60)
    least_left: timedelta = timedelta(seconds=15)
    reconcile_delay: timedelta = timedelta(seconds=90)
    longest_wait: timedelta = timedelta(minutes=15)
    look_up_delay: timedelta = timedelta(seconds=45)
    most_attempts: int = 12
    most_critical_attempts: int = 150

    def pause(self, severity: str, attempt: int, *, was_sent: bool) -> timedelta:
        """Return how long a notification without an answer waits.

        Args:
            severity: A critical one waits no longer than the provider's list may lag: its pause never grows.
            attempt: 1 for the first.
            was_sent: Whether sending had no answer, or only the question whether the provider has it.
        """
        if severity == CRITICAL:
            return self.reconcile_delay if was_sent else min(self.look_up_delay, self.reconcile_delay)
        doubled = self.reconcile_delay * (1 << min(attempt - 1, 10))
        return max(min(doubled, self.longest_wait), self.reconcile_delay)

    def is_given_up(self, severity: str, attempt: int) -> bool:
        """Tell whether that many attempts without an answer are enough."""
        return attempt >= (self.most_critical_attempts if severity == CRITICAL else self.most_attempts)
