package browserlogin

import "slices"

// Chromium's own shortcuts work without its window: they open windows and pages of the browser that no site could,
// and reach the clipboard, which belongs to all contexts. It goes by a key's number, whatever the name, so the number
// decides here. What is not in these lists does nothing.

const (
	alt   = 1
	ctrl  = 2
	shift = 8

	vkBack, vkTab, vkReturn, vkShift, vkEscape, vkSpace = 8, 9, 13, 16, 27, 32

	vkPrior, vkNext, vkEnd, vkHome, vkLeft, vkUp, vkRight, vkDown, vkDelete, vkF2, vkF4 = 33, 34, 35, 36, 37, 38, 39, 40, 46, 113, 115
)

// alone are the keys that do something without Ctrl, Alt or Meta, and whether Shift may be held.
var alone = map[int]bool{
	vkBack: true, vkTab: true, vkReturn: true, vkShift: true, vkEscape: false, vkPrior: true, vkNext: true, vkEnd: true, vkHome: true,
	vkLeft: true, vkUp: true, vkRight: true, vkDown: true, vkDelete: false, vkF2: false, vkF4: false,
}

// together are the combinations with Ctrl and Alt, as modifiers of a key. Copying, cutting and pasting have messages of their own.
var together = map[int][]int{
	'A': {ctrl}, 'Z': {ctrl, ctrl | shift}, 'Y': {ctrl},
	vkLeft: {ctrl, ctrl | shift, alt}, vkRight: {ctrl, ctrl | shift, alt}, vkUp: {ctrl, ctrl | shift, alt}, vkDown: {ctrl, ctrl | shift, alt},
	vkHome: {ctrl, ctrl | shift}, vkEnd: {ctrl, ctrl | shift}, vkBack: {ctrl}, vkDelete: {ctrl}, vkReturn: {ctrl, alt},
}

// editing are the shortcuts that the browser's window, which is not there, would do.
var editing = map[int]string{'A': "selectAll", 'Z': "undo", 'Y': "redo"}

// writes tells whether a number is of a key that writes, on whatever layout.
func writes(vk int) bool {
	return vk == vkSpace || vk >= '0' && vk <= '9' || vk >= 'A' && vk <= 'Z' ||
		vk >= 96 && vk <= 111 || vk >= 186 && vk <= 192 || vk >= 219 && vk <= 226 // the keypad, and what differs by country
}

// number is the one that a key goes to the browser with; ok is false when it does not go there.
func (m *key) number() (vk int, ok bool) {
	if m.Mods&^shift != 0 {
		return m.KeyCode, slices.Contains(together[m.KeyCode], m.Mods)
	}
	if shifted, known := alone[m.KeyCode]; known {
		return m.KeyCode, shifted || m.Mods == 0
	}
	switch {
	case writes(m.KeyCode):
		return m.KeyCode, true
	case m.Text != "" || m.Kind == "up": // Firefox numbers signs as others do media keys; the text is what counts
		return 0, true
	}
	return 0, false
}
