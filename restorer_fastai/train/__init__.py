"A recipe runs its stages."
