"""Where what others have sent us may hold base64 from before it was kept out."""

from __future__ import annotations

from jobs.hygiene.cleaning import Store, clean_texts
from jobs.hygiene.sanitizer import sanitize_base64, sanitize_text
from webhooks.models import Attempt, Receipt

STORES = [
    Store(model=Receipt, columns={"body": sanitize_base64, "notice": clean_texts}),
    Store(model=Attempt, columns={"response_body": sanitize_text}),
]
