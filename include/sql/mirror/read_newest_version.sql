SELECT ifNull(max(version), 0) FROM {{ ledger }}
