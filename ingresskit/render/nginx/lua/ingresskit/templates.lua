-- Texts with places for captures: lists of texts and of numbers of groups. Other places have names: {name}.

local concat, type = table.concat, type

local M = {}

-- The text of a template.
-- groups: what the groups matched; false or nil for those that took no part.
-- names: what stands for each name; nil where a template has none.
function M.expand(template, groups, names)
    local pieces = {}
    for place = 1, #template do
        local piece = template[place]
        if type(piece) == "number" then
            piece = groups[piece] or ""
        elseif type(piece) == "table" then
            piece = names[piece[1]]
        end
        pieces[place] = piece
    end
    return concat(pieces)
end

return M
