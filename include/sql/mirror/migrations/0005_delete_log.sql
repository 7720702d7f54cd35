{# From where a log of deleted keys is read on, and what it was then. #}
ALTER TABLE {{ own('cargas') }}
    ADD COLUMN IF NOT EXISTS `log` String
        COMMENT 'of a log of deleted keys: what tells that nobody has changed it; empty where all keys have to be compared again'
