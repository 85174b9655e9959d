"""The only room that speaks Redis: keys, Lua scripts, and the ports they stand behind."""
