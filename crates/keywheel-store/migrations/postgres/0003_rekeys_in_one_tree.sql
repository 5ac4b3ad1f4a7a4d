-- Only SQLite lays the rekeys out anew; here there is nothing to do.
SELECT 1;
