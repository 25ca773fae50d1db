package guard

import "math"

func descriptors() int { return math.MaxInt32 }
