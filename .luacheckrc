-- The rules of `make lint` for Lua. A file of `migrations-lua/` uses names that its header, the runner and shared
-- files define, so names are checked in the scripts as Redis gets them, which `make lint` writes to `target/lua/`.
std = "lua51"
read_globals = { "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "struct", "bit" }
max_line_length = 140
-- The fields of a reply and the exports of a shared file stand on one line, and are comments to Lua.
max_comment_line_length = 170

files["migrations-lua"] = { ignore = { "1" } } -- undefined names
files["migrations-lua/runner.lua"] = { ignore = { "211", "231" } } -- unused names: operations use them
-- No script uses all that it carries. An unused value is found in its own file.
-- A caller's own script begins where the line around it ends, and is empty there.
files["target/lua"] = { ignore = { "2", "311", "541", "612", "631" } }
