--- @export tags_of_call

-- Returns the tags that the running step gives an entry, nil for none.
function tags_of_call()
  local count, tags = arg_line_count(), nil
  for i = 1, count do
    tags = tags or {}
    tags[i] = args_of_line(i)
  end
  return tags
end
