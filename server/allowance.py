"""So much of something for each key, and a little more as time goes by. No clock: the time is told."""


class Allowance:
    """For each key `burst` at once, and one more every `seconds`. The last `most` keys are remembered."""

    def __init__(self, burst: int, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._burst = burst * seconds
        self._most = most
        self._used: dict[str, float] = {}  # until when each would have to wait to have all again

    def __len__(self) -> int:
        return len(self._used)

    def left(self, key: str, now: float) -> bool:
        """Is there any for this key?"""
        return self._used.get(key, now) - now <= self._burst - self._seconds

    def take(self, key: str, now: float) -> bool:
        """Take one; was there any?"""
        if not self.left(key, now):
            return False
        until = max(self._used.pop(key, now), now) + self._seconds
        if len(self._used) >= self._most:
            del self._used[next(iter(self._used))]
        self._used[key] = until
        return True
