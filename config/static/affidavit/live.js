// Parts of pages that stay up to date: <div data-live="/path/" data-every="5"> is filled anew from there.
