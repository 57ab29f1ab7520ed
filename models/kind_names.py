"""What a message can be. Apart from the classifier, whose import takes seconds, for those who only need the names."""

KINDS = ("complaint", "idea", "question", "praise", "other")
UNSURE = "unsure"
