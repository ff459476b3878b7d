-- The rules of `make lint` for Lua. A file of `migrations-lua/` uses names that its header, the runner and shared
-- files define, so names are checked in the scripts that Redis gets, which `make lint` writes to `target/lua/`.
std = "lua51"
read_globals = { "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "struct", "bit" }
max_line_length = 140

files["migrations-lua"] = { ignore = { "1" } } -- undefined names
files["migrations-lua/runner.lua"] = { ignore = { "211" } } -- unused names: operations use them
files["target/lua"] = { ignore = { "2", "311", "631" } } -- unused names, and what the files alone show better
