"""Words by which a recipient opts out of a sender, and in again, when one of them is the whole text.

Source: Twilio's default handling of opt-out keywords. Case and blanks around the word do not matter; ``STOP please``
opts nobody out. With Advanced Opt-Out, Twilio's webhook names the outcome in ``OptOutType`` instead.
"""

from typing import Final

STOP_WORDS: Final = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
START_WORDS: Final = ("START", "UNSTOP", "YES")
