-- Where the backend had the file of an output, as JSON: `{"filename", "subfolder", "type"}`. None where it had no file, and for
-- outputs of an older gateway.
ALTER TABLE output ADD COLUMN origin TEXT;
