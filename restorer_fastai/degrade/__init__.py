"Every kind of damage as a pure, seeded function, film as physics, and the mixes that choose among them."
