"Old photos: what is damaged, what could have been there, and which colours it had."
