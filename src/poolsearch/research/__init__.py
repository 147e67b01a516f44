"""What only researchers run: methods compared, published experiments made again, samplers on tables of ground truth.

May import everything but the command line; only the command line imports it.
"""
